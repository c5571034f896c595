use std::time::{Duration, Instant};
fn main() {
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let seed: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut hunt = fuzz::kernel::Hunt::new(seed).unwrap();
    let start = Instant::now();
    let r = hunt.try_seeds().and_then(|()| hunt.run(Instant::now() + Duration::from_secs(600), n));
    println!("{:?} in {:?}", hunt.tally, start.elapsed());
    if let Err(f) = r { println!("{}: {}\n{}", f.config, f.difference, f.case); }
}
