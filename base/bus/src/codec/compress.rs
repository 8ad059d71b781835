//! Compression of a batch's records: the formats of Kafka's own clients, read under a limit.

use super::{CodecError, EncodeError};
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::{Read, Write};

/// How the records of a batch are stored. Batches of one log may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    #[default]
    None,
    /// LZ4 frames of independent 64 KiB blocks (Kafka reads no dependent ones).
    Lz4,
    /// Zstandard at level 3, its default.
    Zstd,
}

const ZSTD_LEVEL: i32 = 3;
const CODEC_MASK: i16 = 0x07;

impl Compression {
    pub(super) fn attributes(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

    pub(super) fn from_attributes(attributes: i16) -> Result<Compression, CodecError> {
        match attributes & CODEC_MASK {
            0 => Ok(Compression::None),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            // Three bits.
            other => Err(CodecError::Compression(other as u8)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Compression::None => "no",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// `plain` compressed; `None` where that brings nothing.
    pub(super) fn compress(self, plain: &[u8]) -> Result<Option<Vec<u8>>, EncodeError> {
        let packed = match self {
            Compression::None => return Ok(None),
            Compression::Lz4 => lz4(plain).map_err(|e| e.to_string()),
            Compression::Zstd => zstd::bulk::compress(plain, ZSTD_LEVEL).map_err(|e| e.to_string()),
        };
        let packed = packed.map_err(|reason| EncodeError::Compress { algorithm: self.name(), reason })?;
        Ok((packed.len() < plain.len()).then_some(packed))
    }

    /// `packed` in full, or `TooLarge` as soon as it passes `limit` bytes.
    pub(super) fn decompress(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
        let failed =
            |e: std::io::Error| CodecError::Decompress { algorithm: self.name(), reason: e.to_string() };
        let mut plain = Vec::with_capacity(packed.len().saturating_mul(3).min(limit));
        // One byte more than allowed tells "exactly the limit" from "beyond it".
        let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        match self {
            Compression::None => plain.extend_from_slice(packed),
            Compression::Lz4 => {
                FrameDecoder::new(packed).take(allowed).read_to_end(&mut plain).map_err(failed)?;
            }
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(failed)?;
                decoder.take(allowed).read_to_end(&mut plain).map_err(failed)?;
            }
        }
        if plain.len() > limit {
            return Err(CodecError::TooLarge { what: "the decompressed batch", size: plain.len(), limit });
        }
        Ok(plain)
    }
}

fn lz4(plain: &[u8]) -> Result<Vec<u8>, lz4_flex::frame::Error> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(plain.len() / 2));
    encoder.write_all(plain)?;
    encoder.finish()
}
