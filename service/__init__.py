"""The daemon around `edge`: settings, outbox, MQTT, systemd, health, command line."""
