# What is watched, as data. Each alarm is a row; main.tf makes them.
#
# These see what Prometheus cannot: that SNS gave up on a delivery, and that a dead letter queue
# holds something. None of them asks binpulse.

locals {
  # period in seconds; the alarm goes off when `of` periods in a row are beyond the threshold.
  topic_alarms = {
    delivery_failed = {
      metric      = "NumberOfNotificationsFailed"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 60
      of          = 1
      missing     = "notBreaching"
      description = "SNS gave up on deliveries of this topic: what is in no dead letter queue is lost for that subscriber. See the subscription's queue policy, key and dead letter queue."
    }
    redriven = {
      metric      = "NumberOfNotificationsRedrivenToDlq"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 60
      of          = 1
      missing     = "notBreaching"
      description = "SNS put messages of this topic into a subscription's dead letter queue. Fix the subscription, then replay that queue."
    }
    redrive_failed = {
      metric      = "NumberOfNotificationsFailedToRedriveToDlq"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 60
      of          = 1
      missing     = "notBreaching"
      description = "SNS could not even put messages of this topic into the dead letter queue: they are lost. Consumers see a gap in their lanes' numbers."
    }
    filter_invalid = {
      metric      = "NumberOfNotificationsFilteredOut-InvalidAttributes"
      statistic   = "Sum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 60
      of          = 1
      missing     = "notBreaching"
      description = "Messages of this topic have attributes that filter policies cannot read. binpulse sends none such: who else publishes here?"
    }
  }

  # Canaries come each canary.interval, 10 s unless set, also from a database that is quiet.
  canary_topic_alarms = {
    silent = {
      metric      = "NumberOfMessagesPublished"
      statistic   = "Sum"
      comparison  = "LessThanThreshold"
      threshold   = 1
      period      = 60
      of          = 5
      missing     = "breaching"
      description = "Nothing was published on this topic for five minutes, not even canaries. Ask `binpulse verdict`; if that does not answer, the streamer is down. This alarm needs neither it nor Prometheus."
    }
  }

  queue_alarms = {
    backlog = {
      metric      = "ApproximateAgeOfOldestMessage"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      period      = 60
      of          = 3
      missing     = "notBreaching"
      description = "The oldest message of this queue is older than allowed: its consumer stands still, is too slow, or fails on a message. Messages are deleted when the queue's retention is over."
    }
  }

  dead_letter_alarms = {
    not_empty = {
      metric      = "ApproximateNumberOfMessagesVisible"
      statistic   = "Maximum"
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      period      = 60
      of          = 1
      missing     = "notBreaching"
      description = "Messages wait in a dead letter queue: a consumer misses rows until they are replayed, or retention ends."
    }
  }

  # One object for each alarm, keyed by its name behind the prefix.
  alarms = merge(
    merge([for topic in var.topics : {
      for name, alarm in local.topic_alarms : "${topic}-${name}" => merge(alarm, {
        namespace  = "AWS/SNS"
        dimensions = { TopicName = topic }
      })
    }]...),
    merge([for topic in var.canary_topics : {
      for name, alarm in local.canary_topic_alarms : "${topic}-${name}" => merge(alarm, {
        namespace  = "AWS/SNS"
        dimensions = { TopicName = topic }
      })
    }]...),
    merge([for queue, seconds in var.queues : {
      for name, alarm in local.queue_alarms : "${queue}-${name}" => merge(alarm, {
        threshold  = seconds
        namespace  = "AWS/SQS"
        dimensions = { QueueName = queue }
      })
    }]...),
    merge([for queue in var.dead_letter_queues : {
      for name, alarm in local.dead_letter_alarms : "${queue}-${name}" => merge(alarm, {
        namespace  = "AWS/SQS"
        dimensions = { QueueName = queue }
      })
    }]...),
  )
}
