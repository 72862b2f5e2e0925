//! Both directions of the compression, against the RFC and against each other.

mod hostile;
mod round_trip;
mod vectors;

use std::ops::ControlFlow;

use super::{DecodeError, Decoder, Encoder};

/// A field as name, value and whether it is sensitive.
type Owned = (Vec<u8>, Vec<u8>, bool);

fn owned(name: &str, value: &str) -> Owned {
    (name.into(), value.into(), false)
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Owned>, DecodeError> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| {
        fields.push((field.name.to_vec(), field.value.to_vec(), field.sensitive));
        ControlFlow::Continue(())
    })?;
    Ok(fields)
}

fn encode(encoder: &mut Encoder, fields: &[Owned]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block = encoder.block(&mut out);
    for (name, value, sensitive) in fields {
        block.field(name, value, *sensitive);
    }
    out
}

/// Returns the table of a decoder as name and value, the newest first.
fn table(decoder: &Decoder) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.table().fields().map(|(name, value)| (text(name), text(value))).collect()
}
