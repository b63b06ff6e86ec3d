(module (import "runabout" "log" (func (param i64))) (func (export "f")))
