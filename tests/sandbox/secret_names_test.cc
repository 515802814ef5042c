#include "sandbox/secret_names.h"

#include <gtest/gtest.h>

namespace lares::sandbox {
namespace {

TEST(SecretNames, SayItThemselves) {
  for (const char* name : {".env",
                           ".env.production",
                           ".envrc",
                           ".netrc",
                           "_netrc",
                           ".envrc.local",
                           ".env.local",
                           ".terraformrc",
                           "terraform.rc",
                           "remote-key",
                           "id_dsa",
                           "id_ecdsa",
                           "id_ecdsa_sk",
                           "id_ed25519",
                           "credentials.toml",
                           "credentials.yml",
                           "secrets.json",
                           "secrets.yaml",
                           ".pypirc",
                           ".git-credentials",
                           ".htpasswd",
                           ".pgpass",
                           "id_rsa",
                           "id_ed25519_sk",
                           "credentials.json",
                           "credentials.yaml",
                           "service-account.json",
                           "service-account-prod.json",
                           "service_account.json",
                           "client_secret_12.apps.json",
                           ".dockercfg",
                           ".dockerconfigjson",
                           ".my.cnf",
                           ".s3cfg",
                           ".boto",
                           "kubeconfig",
                           "prod.kubeconfig",
                           ".vault-token",
                           "secrets.yml",
                           "secrets.toml",
                           "terraform.tfstate",
                           "terraform.tfstate.backup",
                           "prod.tfvars",
                           "prod.auto.tfvars.json",
                           "a.p12",
                           "a.pfx",
                           "a.jks",
                           "a.keystore",
                           "a.kdbx",
                           "a.ppk",
                           "master.key"})
    EXPECT_EQ(secret_name(name), SecretName::yes) << name;
}

TEST(SecretNames, ATextDecidesWhereTheyDoNot) {
  for (const char* name : {"ca.pem", "tls.key", ".npmrc", ".key"})
    EXPECT_EQ(secret_name(name), SecretName::likely) << name;
  for (const char* name : {"a.crt", "a.cer", "a.p8", "a.asc", "a.priv", "deploy_rsa",
                           "deploy_ed25519", ".yarnrc.yml", "my-secret-1.txt", "private_key.py"})
    EXPECT_EQ(secret_name(name), SecretName::by_text) << name;
  EXPECT_TRUE(holds_secret_mark("x\n-----BEGIN RSA PRIVATE KEY-----\n"));
  for (const char* text :
       {"//registry/:_authToken=abc\n", "//registry/:_password=abc\n", "_auth=abc\n",
        "npmAuthToken: abc\n", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n"})
    EXPECT_TRUE(holds_secret_mark(text)) << text;
  const std::string key = "-----BEGIN PRIVATE KEY-----\n";
  EXPECT_TRUE(holds_secret_mark(std::string(kSecretMarkBytes - key.size(), 'x') + key));
  EXPECT_FALSE(holds_secret_mark("-----BEGIN CERTIFICATE-----\n"));
}

TEST(SecretNames, TemplatesAndOrdinaryFilesAreNone) {
  for (const char* name : {".env.example",
                           ".env.sample",
                           ".env.template",
                           ".env.dist",
                           ".env.local.example",
                           ".env.defaults",
                           ".env.schema",
                           "secrets.yml.example",
                           "terraform.tfvars.sample",
                           "id_rsa.pub",
                           "environment.py",
                           "keys.py",
                           "main.c",
                           "env",
                           "a.env",
                           "secrets.py",
                           "",
                           "kubeconfig.go",
                           "tfstate",
                           "x.pem.txt",
                           "credentials.go"})
    EXPECT_EQ(secret_name(name), SecretName::no) << name;
}

TEST(SecretNames, OfAPathTheDirectoriesCount) {
  for (const char* path :
       {".aws/credentials", "a/.ssh/config", ".kube/config", "b/.gnupg/x/y", ".azure/x"})
    EXPECT_EQ(secret_path(path), SecretName::yes) << path;
  EXPECT_EQ(secret_path("a/.env"), SecretName::yes);
  EXPECT_EQ(secret_path("a/aws/config"), SecretName::no);
  EXPECT_EQ(secret_path(".env/readme"), SecretName::no) << "a directory of that name is a virtual "
                                                           "environment";
  EXPECT_EQ(secret_path("docs/ssh"), SecretName::no);
}

}  // namespace
}  // namespace lares::sandbox
