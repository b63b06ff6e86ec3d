//! Calls exports of core modules with JSON numbers.

use runabout_protocol::{Arguments, Json, Outcome, Returned};
use serde_json::Value;
use serde_json::value::RawValue;
use wasmtime::{Extern, ExternType, FuncType, Module, ModuleExport, Val, ValType};

use crate::Error;
use crate::guest::{Guest, failure};
use crate::instances::Instances;
use crate::pages::Instantiated;
use crate::program::{Linked, listed};

/// Integers up to this are exact as JSON numbers wherever they are read.
const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;

/// A function that a module exports.
pub struct Function {
    pub name: String,
    /// Its place in every instance, found once.
    place: ModuleExport,
    ty: FuncType,
}

/// The functions a module exports, in the order it declares them.
pub fn exported_functions(module: &Module) -> Vec<Function> {
    module
        .exports()
        .filter_map(|export| {
            let ExternType::Func(ty) = export.ty() else { return None };
            let place = module.get_export_index(export.name())?;
            Some(Function { name: export.name().to_owned(), place, ty })
        })
        .collect()
}

/// Finds the export that a call means, and reads its arguments.
///
/// # Errors
/// No such export, or arguments that do not fit it.
pub fn bind<'a>(
    functions: &'a [Function],
    export: Option<&str>,
    args: &Arguments,
) -> Result<(&'a Function, Vec<Val>), Error> {
    let function = find(functions, export)?;
    let Function { name, ty, .. } = function;
    if args.encoding.is_some() {
        return Err(Error::invalid_arguments(format!("{name} takes numbers, not bytes")));
    }
    let values: Vec<&RawValue> = args
        .values
        .read()
        .map_err(|_| Error::invalid_arguments("arguments are a JSON array".to_owned()))?;
    if values.len() != ty.params().len() {
        let (wanted, given) = (ty.params().len(), values.len());
        return Err(Error::invalid_arguments(format!(
            "{name} takes {wanted} argument{}, {given} given",
            if wanted == 1 { "" } else { "s" },
        )));
    }
    let params = ty.params().zip(values).enumerate().map(|(index, (ty, value))| {
        read_number(&ty, value.get()).ok_or_else(|| {
            let wanted = describe(&ty);
            let value = shortened(value.get());
            Error::invalid_arguments(format!(
                "argument {} of {name} is {wanted}, {value} given",
                index + 1
            ))
        })
    });
    Ok((function, params.collect::<Result<_, _>>()?))
}

fn find<'a>(functions: &'a [Function], export: Option<&str>) -> Result<&'a Function, Error> {
    let names = || listed(functions.iter().map(|function| function.name.as_str()));
    match (export, functions) {
        (Some(wanted), _) => functions
            .iter()
            .find(|function| function.name == wanted)
            .ok_or_else(|| Error::unknown_export(wanted, &names())),
        (None, [only]) => Ok(only),
        (None, []) => Err(Error::no_export("the module exports no function".to_owned())),
        (None, _) => Err(Error::no_export(format!("name the export to call: {}", names()))),
    }
}

fn describe(ty: &ValType) -> &'static str {
    match ty {
        ValType::I32 => "a 32-bit integer (i32)",
        ValType::I64 => "a 64-bit integer (i64; a number, or a decimal string)",
        ValType::F32 | ValType::F64 => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        _ => "of a type that JSON cannot give",
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn read_number(ty: &ValType, text: &str) -> Option<Val> {
    // As most are written.
    if let (ValType::I32, Ok(number)) = (ty, text.parse()) {
        return Some(Val::I32(number));
    }
    let value: Value = serde_json::from_str(text).ok()?;
    match ty {
        ValType::I32 => {
            let number = integer(&value)?;
            // Both readings of 32 bits are taken, as a call from JavaScript takes them.
            let fits = (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&number);
            fits.then_some(Val::I32(number as i32))
        }
        ValType::I64 => {
            let number = match &value {
                Value::String(digits) => digits.parse::<i128>().ok()?,
                _ => integer(&value)?,
            };
            let fits = (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&number);
            fits.then_some(Val::I64(number as i64))
        }
        ValType::F32 => float(&value).map(|number| Val::from(number as f32)),
        ValType::F64 => float(&value).map(Val::from),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    if let Some(exact) = number.as_i128() {
        return Some(exact);
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() <= SAFE_INTEGER_MAX as f64).then_some(float as i128)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Calls an export in an instance as its module has it.
pub async fn call(
    instances: &Instances,
    guest: Guest,
    module: &Linked,
    (Function { name, place, ty }, params): (&Function, Vec<Val>),
) -> Outcome {
    let meter = guest.meter.clone();
    let called = async {
        let mut ready = instances.get(guest, module).await?;
        let Instantiated { running, instance, .. } = ready.instance();
        let function = instance
            .get_module_export(&mut **running, place)
            .and_then(Extern::into_func)
            .ok_or_else(|| wasmtime::format_err!("the export {name} has vanished"))?;
        let mut results = vec![Val::I32(0); ty.results().len()];
        function.call_async(&mut **running, &params, &mut results).await?;
        instances.take_back(ready, module).await;
        wasmtime::error::Ok(results)
    };
    match called.await {
        Ok(results) => {
            Outcome::Returned(Returned { value: write_results(&results), encoding: None })
        }
        Err(error) => failure(&error, &meter),
    }
}

fn write_results(results: &[Val]) -> Json {
    let text = match results {
        [] => "null".to_owned(),
        [one] => write_number(one),
        several => {
            format!("[{}]", several.iter().map(write_number).collect::<Vec<_>>().join(","))
        }
    };
    Json::parse(text).expect("numbers and quoted words are JSON")
}

fn write_number(value: &Val) -> String {
    match value {
        Val::I32(number) => number.to_string(),
        Val::I64(number) if number.abs_diff(0) <= SAFE_INTEGER_MAX as u64 => number.to_string(),
        Val::I64(number) => format!("\"{number}\""),
        Val::F32(bits) => write_float(f64::from(f32::from_bits(*bits))),
        Val::F64(bits) => write_float(f64::from_bits(*bits)),
        // A reference or a vector has no JSON form.
        _ => "null".to_owned(),
    }
}

fn write_float(number: f64) -> String {
    if number.is_nan() {
        return "\"NaN\"".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }.to_owned();
    }
    if number == 0.0 && number.is_sign_negative() {
        // JavaScript would write 0 and lose the sign; JSON has it.
        return "-0".to_owned();
    }
    ryu_js::Buffer::new().format_finite(number).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ty: ValType, json: &str, expected: Option<&str>) {
        let written = read_number(&ty, json).map(|value| write_number(&value));
        assert_eq!(written.as_deref(), expected, "{ty:?} from {json}");
    }

    #[test]
    fn numbers_survive_the_way_in_and_out() {
        check(ValType::I32, "34", Some("34"));
        check(ValType::I32, "34.0", Some("34"));
        check(ValType::I32, "4294967295", Some("-1"));
        check(ValType::I64, "9007199254740991", Some("9007199254740991"));
        check(ValType::I64, "\"9223372036854775807\"", Some("\"9223372036854775807\""));
        check(ValType::I64, "-9223372036854775808", Some("\"-9223372036854775808\""));
        check(ValType::F64, "0.1", Some("0.1"));
        check(ValType::F64, "3", Some("3"));
        check(ValType::F64, "1e300", Some("1e+300"));
        check(ValType::F64, "-0.0", Some("-0"));
        check(ValType::F64, "\"NaN\"", Some("\"NaN\""));
        check(ValType::F32, "\"-Infinity\"", Some("\"-Infinity\""));
    }

    #[test]
    fn what_is_no_such_number_is_refused() {
        check(ValType::I32, "1.5", None);
        check(ValType::I32, "4294967296", None);
        check(ValType::I32, "\"1\"", None);
        check(ValType::I64, "\"ten\"", None);
        check(ValType::F64, "null", None);
        check(ValType::F64, "\"inf\"", None);
        check(ValType::FUNCREF, "1", None);
    }
}
