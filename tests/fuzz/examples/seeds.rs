fn main() {
    let base = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let frames = fuzz::frames::all();
    println!("{} frames", frames.len());
    for (t, prefixes) in [
        ("arp", vec![vec![]]),
        ("classify", vec![vec![5, 220, 0, 0], vec![0, 60, 5, 160]]),
        ("dhcp", (0..5u8).map(|b| vec![b]).collect()),
        ("fixup", vec![vec![0], vec![1]]),
    ] {
        let dir = base.join(t);
        std::fs::create_dir_all(&dir).unwrap();
        for (i, f) in frames.iter().enumerate() {
            for (j, p) in prefixes.iter().enumerate() {
                if t == "dhcp" && i > 30 {
                    continue;
                }
                std::fs::write(dir.join(format!("{i}-{j}")), [p.clone(), f.clone()].concat()).unwrap();
            }
        }
    }
}
