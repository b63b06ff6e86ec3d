(module (import "runabout" "memory" (memory 1)) (func (export "f")))
