//! cli
mod demo;
mod fetch;
pub enum Outcome {
    Good,
    No,
    BadInput,
}
pub async fn demo(once: bool) -> anyhow::Result<Outcome> {
    demo::run(once).await
}
