// What the sandbox calls in QuickJS. Included by `vm.rs`, and by the build script, which leaves out
// all other exports: each of them takes room in every instance.
exports!(
    qjs_call,
    qjs_eval,
    qjs_execute_pending_job,
    qjs_free_cstring,
    qjs_free_value,
    qjs_get_array_buffer,
    qjs_get_exception,
    qjs_get_float64,
    qjs_get_string_len,
    qjs_get_typed_array_buffer,
    qjs_get_undefined,
    qjs_get_value_ptr,
    qjs_is_exception,
    qjs_new_string,
    qjs_new_uint8_array,
    resolve_module = "JS_ResolveModule",
    runabout_begin,
    runabout_evaluate,
    wasm_free,
    wasm_malloc,
);
