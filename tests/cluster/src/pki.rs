//! The cluster's own certificate authority, and the kubeconfig files it signs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate authority that lives as long as the cluster.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    server: String,
    ca: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Writes `ca.crt`, the API server's `server.crt` and `server.key`, and
    /// `service-accounts.key` and its public half into the folder.
    pub(crate) fn create(folder: &Path, server: String) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        params
            .distinguished_name
            .push(DnType::CommonName, "test cluster");
        let key = KeyPair::generate()?;
        let ca = params.self_signed(&key)?.pem();
        fs::write(folder.join("ca.crt"), &ca)?;
        let pki = Self {
            folder: folder.to_owned(),
            server,
            ca,
            issuer: Issuer::new(params, key),
        };

        let names = [
            "127.0.0.1",
            "localhost",
            "kubernetes.default.svc",
            "10.96.0.1",
        ];
        let params = CertificateParams::new(names.map(str::to_owned))?;
        let (cert, key) = pki.sign(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        fs::write(folder.join("server.crt"), cert)?;
        fs::write(folder.join("server.key"), key)?;
        let key = KeyPair::generate()?;
        fs::write(folder.join("service-accounts.key"), key.serialize_pem())?;
        fs::write(folder.join("service-accounts.pub"), key.public_key_pem())?;
        Ok(pki)
    }

    /// A kubeconfig file for a user with a certificate.
    pub(crate) fn kubeconfig(&self, user: &str, group: &str) -> Result<PathBuf> {
        let (cert, key) = self.client(user, group)?;
        let credentials = format!(
            "client-certificate-data: {}\n    client-key-data: {}",
            BASE64_STANDARD.encode(cert),
            BASE64_STANDARD.encode(key)
        );
        self.write_kubeconfig(user, &credentials)
    }

    /// Writes a user's certificate and key as `<name>.crt` and `<name>.key`.
    pub(crate) fn client_files(&self, name: &str, user: &str, group: &str) -> Result<()> {
        let (cert, key) = self.client(user, group)?;
        fs::write(self.folder.join(format!("{name}.crt")), cert)?;
        fs::write(self.folder.join(format!("{name}.key")), key)?;
        Ok(())
    }

    fn client(&self, user: &str, group: &str) -> Result<(String, String)> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, user);
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A kubeconfig file for a user with a token.
    pub(crate) fn token_kubeconfig(&self, user: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(user, &format!("token: {token}"))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(String, String)> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok((cert.pem(), key.serialize_pem()))
    }

    fn write_kubeconfig(&self, user: &str, credentials: &str) -> Result<PathBuf> {
        let path = self
            .folder
            .join(format!("{}.kubeconfig", user.replace(':', "-")));
        let (server, ca) = (&self.server, BASE64_STANDARD.encode(&self.ca));
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: cluster\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\n\
             users:\n\
             - name: user\n  user:\n    {credentials}\n\
             contexts:\n\
             - name: context\n  context: {{cluster: cluster, user: user}}\n\
             current-context: context\n"
        );
        // Components start as soon as the file is there, and tests ask for the same
        // one at the same time: it must never be seen half-written.
        let unfinished = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(unfinished.path(), text)?;
        unfinished.persist(&path)?;
        Ok(path)
    }
}
