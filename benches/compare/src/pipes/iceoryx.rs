//! `iceoryx2`, publish and subscribe, without loss: the publisher waits for room. Samples
//! are written in place; the receiver polls, the way of its own benchmarks, and copies the
//! message out as all subjects here do.

use super::fresh_name;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use ringway_benches::Fallible;
use ringway_benches::control::Parcel;
use ringway_benches::subject::Duplex;

/// Bytes of a sample at first; it grows to what is sent.
const INITIAL: usize = 16;
/// Samples under way.
const BUFFER: usize = 64;

/// One end.
pub struct Iceoryx {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    // Last: the ports belong to it.
    _node: Node<ipc::Service>,
}

impl Iceoryx {
    fn open(name: &str, to: &str, from: &str) -> Fallible<Self> {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>()?;
        let service = |way: &str| {
            let name: ServiceName = format!("{name}-{way}").as_str().try_into()?;
            let builder = node.service_builder(&name).publish_subscribe::<[u8]>();
            let builder = builder.enable_safe_overflow(false).history_size(0);
            let builder = builder.subscriber_max_buffer_size(BUFFER).max_publishers(1);
            Fallible::Ok(builder.max_subscribers(1).open_or_create()?)
        };
        let publisher = service(to)?
            .publisher_builder()
            .initial_max_slice_len(INITIAL)
            .allocation_strategy(AllocationStrategy::PowerOfTwo)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let subscriber = service(from)?.subscriber_builder().buffer_size(BUFFER).create()?;
        Ok(Self { publisher, subscriber, _node: node })
    }
}

impl Duplex for Iceoryx {
    const NAME: &'static str = "iceoryx2_poll";

    fn create() -> Fallible<(Self, Parcel)> {
        let name = fresh_name("iceoryx");
        let own = Self::open(&name, "there", "back")?;
        Ok((own, Parcel { bytes: name.into_bytes(), descriptors: Vec::new() }))
    }

    fn attach(parcel: Parcel) -> Fallible<Self> {
        Self::open(&String::from_utf8(parcel.bytes)?, "back", "there")
    }

    fn send(&mut self, message: &[u8]) -> Fallible {
        let sample = self.publisher.loan_slice_uninit(message.len())?;
        sample.write_from_slice(message).send()?;
        Ok(())
    }

    fn recv(&mut self, message: &mut [u8]) -> Fallible {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                if sample.payload().len() != message.len() {
                    return Err("a message of another length came".into());
                }
                message.copy_from_slice(sample.payload());
                return Ok(());
            }
            std::hint::spin_loop();
        }
    }
}
