output "alarms" {
  description = "The alarms' names, each with what it watches."
  value       = { for key, alarm in local.alarms : "${var.prefix}-${key}" => alarm }
}
