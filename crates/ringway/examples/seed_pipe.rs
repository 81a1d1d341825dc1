//! The classic pipe program: one process prints what the other sends, until that one
//! closes its end.
//!
//! In Python:
//!
//! ```python
//! def fun1(conn):
//!     while True:
//!         try:
//!             message = conn.recv()
//!             print(message)
//!         except Exception as e:
//!             print(e)
//!             break
//!
//! def fun2(conn):
//!     for i in range(0, 5):
//!         message = "你好，我是fun2"
//!         conn.send(message)
//!     conn.close()
//!     return
//!
//! if __name__ == '__main__':
//!     conn1, conn2 = Pipe()
//!     p1 = Process(target=fun1, args=(conn1,))
//!     p1.start()
//!     p2 = Process(target=fun2, args=(conn2,))
//!     p2.start()
//!     conn2.close()
//!
//!     p1.join()
//!     p2.join()
//!
//!     print("main end")
//! ```
//!
//! Under Linux and fork that program never ends: the reading child has a copy of the
//! writing end, so it never sees the end of the messages. Here an end that is handed to
//! a child is the child's alone. The parent has nothing left to close.

use ringway::pipe::{self, Connection};
use std::error::Error;

fn fun1(mut conn: Connection<String>) {
    loop {
        match conn.recv() {
            Ok(message) => println!("{message}"),
            Err(e) => {
                println!("{e}");
                break;
            }
        }
    }
}

fn fun2(mut conn: Connection<String>) -> Result<(), Box<dyn Error>> {
    for _ in 0..5 {
        conn.send(&"你好，我是fun2".to_string())?;
    }
    conn.close();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    ringway::init(ringway::entries![fun1, fun2]);

    let (conn1, conn2) = pipe::duplex()?;
    let p1 = ringway::spawn(fun1, conn1)?;
    let p2 = ringway::spawn(fun2, conn2)?;

    p1.join()?;
    p2.join()?;

    println!("main end");
    Ok(())
}
