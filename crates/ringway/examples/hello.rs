//! Two processes, one pipe: the shortest program.

use ringway::pipe::{self, Connection};

fn shout(mut pipe: Connection<String>) -> Result<(), Box<dyn std::error::Error>> {
    let word = pipe.recv()?;
    pipe.send(&word.to_uppercase())?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    ringway::init(ringway::entries![shout]);

    let (mut mine, theirs) = pipe::duplex()?;
    let child = ringway::spawn(shout, theirs)?;
    mine.send(&"hello".to_string())?;
    println!("{}", mine.recv()?);
    child.join()?;
    Ok(())
}
