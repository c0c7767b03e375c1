# CloudWatch alarms for the topics, queues and dead letter queues of one stream: a module.
#
#   module "binpulse_alarms" {
#     source             = "./alerts/cloudwatch"
#     topics             = ["shop-changes"]
#     canary_topics      = ["shop-changes"]
#     queues             = { billing = 300 }
#     dead_letter_queues = ["billing-dead", "shop-changes-billing-dead"]
#     actions            = ["arn:aws:sns:eu-central-1:123456789012:pager"]
#   }

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.prefix}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.of
  datapoints_to_alarm = each.value.of
  treat_missing_data  = each.value.missing
  alarm_actions       = var.actions
  ok_actions          = var.actions
  tags                = var.tags
}
