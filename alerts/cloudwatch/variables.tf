variable "prefix" {
  description = "What the alarms' names begin with."
  type        = string
  default     = "binpulse"
}

variable "topics" {
  description = "Names of the topics that binpulse publishes on, not their ARNs; with .fifo where they have it. A name for each of a topic template."
  type        = set(string)
}

variable "canary_topics" {
  description = "Those of the topics that carry canaries: canary.topic, or sns.topic. Silence there is a stall."
  type        = set(string)
}

variable "queues" {
  description = "Names of the consumers' queues, each with the age in seconds that its oldest message may reach."
  type        = map(number)
  default     = {}
}

variable "dead_letter_queues" {
  description = "Names of the dead letter queues, of subscriptions and of queues, those of relays too."
  type        = set(string)
  default     = []
}

variable "actions" {
  description = "ARNs of what is told when an alarm goes off and when it ends: never a topic that is watched here."
  type        = list(string)
}

variable "tags" {
  description = "Tags of the alarms."
  type        = map(string)
  default     = {}
}
