(module (import "env" "system" (func (param i32))) (func (export "f")))
