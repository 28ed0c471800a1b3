"""The door: a request is limited, verified, read, made durable and answered; the work is done elsewhere."""
