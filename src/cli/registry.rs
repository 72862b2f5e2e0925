//! `dyelane registry`: a node of the registry, by a file, by arguments, or by neither.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::app::registry::{Process, RegistryError};
use crate::cli::{Outcome, file, node, print};
use crate::config::{Authority, PlaceName, RegistryConfig, Token};

/// Who the node is. What is said here goes before what the file says.
#[derive(Debug, Clone, Args)]
pub(super) struct Registry {
    /// Its file; none is needed
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, by name
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where it listens [default: 127.0.0.1:7171]
    #[arg(long, value_name = "ADDR", value_parser = listen)]
    listen: Option<SocketAddr>,
    /// Where others reach it [default: where it listens]
    #[arg(long, value_name = "ADDR", value_parser = node::authority)]
    advertise: Option<Authority>,
    /// Another node of its zone; may be repeated, and may be itself
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = node::authority)]
    peer: Vec<Authority>,
    /// The region it runs in
    #[arg(long, value_name = "NAME")]
    region: Option<PlaceName>,
    /// The zone it runs in [default: default]
    #[arg(long, value_name = "NAME")]
    zone: Option<PlaceName>,
    /// The environment it registers itself in [default: prod]
    #[arg(long, value_name = "NAME")]
    env: Option<PlaceName>,
    /// What it is called among the nodes of its zone [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    host: Option<PlaceName>,
    /// A directory for what outlives the process: tenant rules, its number
    #[arg(long, value_name = "DIR", visible_alias = "data-dir")]
    data: Option<PathBuf>,
    /// A directory of files that say how zones spread their requests
    #[arg(long, value_name = "DIR")]
    schedulers: Option<PathBuf>,
    /// A file that holds the registry's token: with it tenant rules are written, and nodes speak to each other
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Reads where to listen.
fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        Ok(port) => format!("write 127.0.0.1:{port} for this machine, 0.0.0.0:{port} for all"),
        Err(_) => "write an IP address and a port, such as 127.0.0.1:7171".to_owned(),
    })
}

impl Registry {
    /// Runs the node until it is told to end.
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let config = match self.clone().config() {
            Ok(config) => config,
            Err(problem) => {
                print::talk(problem.trim_end());
                return Ok(Outcome::BadInput);
            }
        };
        let announce = |address| print::line(&format!("listening on {address}"));
        let reread = || self.clone().config();
        match (Process { config, announce, reread }).run().await {
            Ok(()) => Ok(Outcome::Good),
            Err(
                error @ (RegistryError::TokenFile { .. }
                | RegistryError::Token { .. }
                | RegistryError::Unreachable),
            ) => Ok(print::bad_input(&error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what the file says, and above it what was said here.
    fn config(self) -> Result<RegistryConfig, String> {
        let mut config = match self.file.or(self.config) {
            Some(path) => {
                let read =
                    file::read_registry(&path).map_err(|error| format!("error: {error:#}"))?;
                read.map_err(|report| report.to_string())?
            }
            None => RegistryConfig::default(),
        };
        let node = &mut config.node;
        node.listen = self.listen.unwrap_or(node.listen);
        node.advertise = self.advertise.or(node.advertise.take());
        for peer in self.peer {
            if !node.peers.contains(&peer) {
                node.peers.push(peer);
            }
        }
        for (said, here) in [
            (self.region, &mut node.region),
            (self.zone, &mut node.zone),
            (self.env, &mut node.env),
        ] {
            if let Some(said) = said {
                *here = said.into();
            }
        }
        node.host = self.host.map(Into::into).or(node.host.take());
        node.data = self.data.or(node.data.take());
        node.schedulers = self.schedulers.or(node.schedulers.take());
        if let Some(path) = self.token_file {
            node.token = Token::File(path);
        }
        if node.zones.contains_key(&node.zone) {
            return Err(format!("error: zone {} is ours, and has nodes in `zones`", node.zone));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        registry: Registry,
    }

    fn config(line: &str) -> RegistryConfig {
        let line = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(line).unwrap().registry.config().unwrap()
    }

    #[test]
    fn nothing_needs_to_be_said() {
        assert_eq!(config(""), RegistryConfig::default());
    }

    #[test]
    fn what_is_said_goes_before_what_the_file_says() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("registry.toml");
        let text = "[registry]\nzone = 'a'\nenv = 'uat'\npeers = ['10.0.0.1:7171']\ntoken = 'x'\n";
        std::fs::write(&file, text).unwrap();
        let line = "--listen 0.0.0.0:1 --peer 10.0.0.2:7171,10.0.0.1:7171 --zone b --token-file t";

        let node = config(&format!("{} {line}", file.display())).node;

        assert_eq!((&*node.zone, &*node.env, node.listen.port()), ("b", "uat", 1));
        let peers: Vec<_> = node.peers.iter().map(Authority::as_str).collect();
        assert_eq!(peers, ["10.0.0.1:7171", "10.0.0.2:7171"]);
        assert_eq!(node.token, Token::File("t".into()));
    }

    #[test]
    fn where_to_listen_is_said_whole() {
        assert!(listen(":7171").unwrap_err().contains("0.0.0.0:7171"));
        assert!(listen("7171").unwrap_err().contains("127.0.0.1:7171"));
        assert!(listen("localhost:7171").unwrap_err().contains("an IP address"));
        assert_eq!(listen("[::1]:7171"), Ok("[::1]:7171".parse().unwrap()));
    }
}
