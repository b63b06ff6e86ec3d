;; Takes the name under which the sandbox finds a memory.
(module
  (memory (export "memory") 1)
  (func (export "runabout:memory/0")))
