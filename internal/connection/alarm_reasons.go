package connection

// AlarmReasons returns all reasons of alarms. The slice is the caller's own.
func AlarmReasons() []AlarmReason {
	return []AlarmReason{AlarmMisconfigured, AlarmDeadGrants, AlarmManyRefused}
}
