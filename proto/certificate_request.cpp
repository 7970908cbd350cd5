// SPDX-License-Identifier: GPL-3.0-or-later
#include "proto/certificate_request.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "proto/certificate_chain.h"
#include "proto/error.h"

namespace connd::proto {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, OpensslDeleter<X509_REQ_free>>;

constexpr std::string_view kEncryptedKeyLine = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
constexpr std::size_t kMaxKeys = 4;

int give_passphrase(char* out, int size, int, void* passphrase) {
  const auto& text = *static_cast<const std::string_view*>(passphrase);
  const std::size_t n = std::min(text.size(), static_cast<std::size_t>(size));
  std::memcpy(out, text.data(), n);
  return static_cast<int>(n);
}

BioPtr reader(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string_view written(const BioPtr& bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

PkeyPtr plain_key(std::string_view pem) {
  const BioPtr in = reader(pem);
  PkeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  return key;
}

bool fill(X509_REQ* request, EVP_PKEY* key) {
  // The subject is the asker's word and not used; the key id helps people to tell requests apart.
  const std::string id = key_id_of(public_key_der_of(key)).hex();
  return X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
         X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(request), NID_userId, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(id.data()), static_cast<int>(id.size()), -1,
                                    0) == 1 &&
         X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha512()) > 0;
}

}  // namespace

Result<std::string> make_certificate_request(std::string_view device_key_pem) {
  const PkeyPtr key = plain_key(device_key_pem);
  if (key == nullptr) return Errc::kKeyUnreadable;
  const RequestPtr request(X509_REQ_new());
  const BioPtr out(BIO_new(BIO_s_mem()));
  const bool made = fill(request.get(), key.get()) && PEM_write_bio_X509_REQ(out.get(), request.get()) == 1;
  ERR_clear_error();
  if (!made) return Errc::kKeyGenerationFailed;
  return std::string(written(out));
}

Result<ByteVector> key_of_certificate_request(std::string_view pem) {
  if (pem.size() > kMaxRequestPemBytes) return Errc::kCertificateUnreadable;
  const BioPtr in = reader(pem);
  const RequestPtr request(PEM_read_bio_X509_REQ(in.get(), nullptr, no_password, nullptr));
  EVP_PKEY* const key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  // Who asks has to hold the key: the request is signed by it.
  const bool genuine =
      key != nullptr && EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (!genuine) return Errc::kCertificateUnreadable;
  if (EVP_PKEY_get_security_bits(key) < kMinSecurityBits) return Errc::kCertificateTooWeak;
  return public_key_der_of(key);
}

Result<std::string> encrypt_private_key(std::string_view key_pem, std::string_view passphrase) {
  const PkeyPtr key = plain_key(key_pem);
  if (key == nullptr) return Errc::kKeyUnreadable;
  const BioPtr out(BIO_new(BIO_s_mem()));
  const int done = PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_256_cbc(), passphrase.data(),
                                                 static_cast<int>(passphrase.size()), nullptr, nullptr);
  ERR_clear_error();
  if (done != 1) return Errc::kKeyGenerationFailed;
  return std::string(written(out));
}

Result<std::vector<SecretText>> decrypt_private_keys(std::string_view pem, std::string_view passphrase) {
  std::vector<SecretText> keys;
  for (std::size_t at = pem.find(kEncryptedKeyLine); at != std::string_view::npos && keys.size() < kMaxKeys;
       at = pem.find(kEncryptedKeyLine, at + 1)) {
    const BioPtr in = reader(pem.substr(at));
    const PkeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, give_passphrase, &passphrase));
    const BioPtr out(BIO_new(BIO_s_secmem()));
    const bool done = key && PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    ERR_clear_error();
    if (!done) return Errc::kKeyUnreadable;
    keys.emplace_back(written(out));
  }
  if (keys.empty()) return Errc::kKeyUnreadable;
  return keys;
}

bool has_encrypted_key(std::string_view pem) {
  return pem.find(kEncryptedKeyLine) != std::string_view::npos;
}

}  // namespace connd::proto
