//! Inter-process queues and pipes over shared-memory ring buffers.
