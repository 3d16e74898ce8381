// SHA-256 (FIPS 180-4): names models, requests and migrations by content.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gf {

/// Takes bytes in any portions, with the processor's own instructions for it where there are some. Not synchronised;
/// its owner guards it.
class Sha256 {
 public:
  Sha256() : compress_(fastest()) {}
  /// One that computes without those instructions: what it gives is the same.
  static Sha256 portable();
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  /// The digest of all that was added; the object is spent after it.
  std::array<std::byte, 32> finish();

 private:
  using State = std::array<std::uint32_t, 8>;
  /// Mixes one block of 64 bytes into the state.
  using Compress = void (*)(State& state, const std::byte* block);
  static Compress fastest();

  Compress compress_;
  State state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};
  std::size_t pending_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

/// 64 lower-case hex digits.
std::string to_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace gf
