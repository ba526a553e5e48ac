"""config: settings of the whole house, and other servers' configurations taken over."""
