"""The async driver that runs a party for real: journal, mail, blob service, configuration."""
