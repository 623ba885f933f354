"""What looks on while a model trains: how it is called, and the zoo's own callbacks."""
