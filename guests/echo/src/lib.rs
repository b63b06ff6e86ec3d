//! A WASI command: prints its arguments, then what it reads from standard input.
//!
//! `echo hello world` prints `hello world` and a line end, then copies standard input.
//! `echo --exit 3` says so on standard error and ends with code 3.

mod wasi;

use wasi::File;

/// The command's entry, by the name WASI asks for.
#[unsafe(no_mangle)]
pub extern "C" fn _start() {
    let args = wasi::args();
    let args = args.get(1..).unwrap_or_default();
    if let [flag, code] = args
        && flag == "--exit"
    {
        fail(code);
    }
    print(args);
    copy_stdin();
}

fn fail(code: &str) -> ! {
    let Ok(code) = code.parse::<u8>() else {
        wasi::write_all(File::Stderr, b"--exit wants a code from 0 to 255\n");
        wasi::exit(2);
    };
    wasi::write_all(File::Stderr, format!("exiting with code {code}\n").as_bytes());
    wasi::exit(code.into())
}

fn print(args: &[String]) {
    if args.is_empty() {
        return;
    }
    wasi::write_all(File::Stdout, args.join(" ").as_bytes());
    wasi::write_all(File::Stdout, b"\n");
}

fn copy_stdin() {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match wasi::read(File::Stdin, &mut buffer) {
            0 => return,
            read => wasi::write_all(File::Stdout, buffer.get(..read).unwrap_or_default()),
        }
    }
}
