"""Networks in torch. Imported only when a metric or a codec is loaded; their weights come from ops.weights."""
