//! What a run reads as its standard input.

use std::io::Read;

use anyhow::Context;

/// Reads the file of that name, or our own stdin for `-`.
pub async fn read(source: Option<String>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(source) = source else {
        return Ok(None);
    };
    let read = tokio::task::spawn_blocking(move || {
        if source != "-" {
            return std::fs::read(&source).with_context(|| format!("failed to read {source}"));
        }
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("failed to read stdin")?;
        Ok(bytes)
    });
    read.await?.map(Some)
}
