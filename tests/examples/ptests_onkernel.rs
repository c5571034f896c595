//! Throwaway.
use std::{path::PathBuf, time::Duration};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let kernel = lab::kernel::Kernel::unpacked(&PathBuf::from(&args[1])).unwrap();
    let tests = vec![("kernels".to_owned(), PathBuf::from(&args[3]))];
    let ran = lab::machine::run(&kernel, &PathBuf::from(&args[2]), &tests, Duration::from_mins(20)).unwrap();
    println!("{} ended {} in {:?}\n{}\n=====\n{}", kernel.release, ran.ended, ran.time, ran.output, ran.console);
}
