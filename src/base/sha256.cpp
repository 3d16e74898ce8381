#include "base/sha256.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace gf {
namespace {

// FIPS 180-4, section 4.2.2: fractional parts of the cube roots of the first 64 primes.
constexpr std::array<std::uint32_t, 64> round_constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t big_endian(const std::byte* at) {
  return std::to_integer<std::uint32_t>(at[0]) << 24 | std::to_integer<std::uint32_t>(at[1]) << 16 |
         std::to_integer<std::uint32_t>(at[2]) << 8 | std::to_integer<std::uint32_t>(at[3]);
}

using State = std::array<std::uint32_t, 8>;

void compress_portably(State& state, const std::byte* block) {
  std::array<std::uint32_t, 64> w;
  for (std::size_t t = 0; t < 16; ++t) w[t] = big_endian(block + 4 * t);
  for (std::size_t t = 16; t < 64; ++t) {
    const auto small_0 = std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
    const auto small_1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
    w[t] = small_1 + w[t - 7] + small_0 + w[t - 16];
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t t = 0; t < 64; ++t) {
    const auto big_1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const auto big_0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const auto first = h + big_1 + ((e & f) ^ (~e & g)) + round_constants[t] + w[t];
    const auto second = big_0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const std::array<std::uint32_t, 8> mixed = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) state[i] += mixed[i];
}

#ifdef __x86_64__

bool has_sha_instructions() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
}

/// By the SHA extensions (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: SHA256RNDS2,
/// SHA256MSG1 and SHA256MSG2). They keep the state as the words a b e f and c d g h, the first in the highest lane.
__attribute__((target("sha,ssse3,sse4.1"))) void compress_by_instructions(State& state, const std::byte* block) {
  const auto load = [](const void* at) __attribute__((target("sha,ssse3,sse4.1"))) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
  };
  const __m128i bytes_of_words_reversed = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  constexpr int backwards = 0x1B;
  const __m128i abcd = _mm_shuffle_epi32(load(state.data()), backwards);
  const __m128i efgh = _mm_shuffle_epi32(load(state.data() + 4), backwards);
  const __m128i abef_before = _mm_unpackhi_epi64(efgh, abcd);
  const __m128i cdgh_before = _mm_unpacklo_epi64(efgh, abcd);
  __m128i abef = abef_before;
  __m128i cdgh = cdgh_before;
  __m128i words[4];  // The last sixteen of the schedule, four each.
  for (int group = 0; group < 16; ++group) {
    __m128i& next = words[group % 4];
    if (group < 4) {
      next = _mm_shuffle_epi8(load(block + 16 * group), bytes_of_words_reversed);
    } else {
      const __m128i last = words[(group + 3) % 4];
      const __m128i seven_before = _mm_alignr_epi8(last, words[(group + 2) % 4], 4);
      next =
          _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(next, words[(group + 1) % 4]), seven_before), last);
    }
    const __m128i with_constants = _mm_add_epi32(next, load(round_constants.data() + 4 * group));
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, with_constants);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(with_constants, 0x0E));
  }
  abef = _mm_add_epi32(abef, abef_before);
  cdgh = _mm_add_epi32(cdgh, cdgh_before);
  const auto store = [](void* at, __m128i value) __attribute__((target("sha,ssse3,sse4.1"))) {
    _mm_storeu_si128(static_cast<__m128i*>(at), value);
  };
  store(state.data(), _mm_shuffle_epi32(_mm_unpackhi_epi64(cdgh, abef), backwards));
  store(state.data() + 4, _mm_shuffle_epi32(_mm_unpacklo_epi64(cdgh, abef), backwards));
}

#endif

}  // namespace

Sha256::Compress Sha256::fastest() {
#ifdef __x86_64__
  static const Compress chosen = has_sha_instructions() ? compress_by_instructions : compress_portably;
  return chosen;
#else
  return compress_portably;
#endif
}

Sha256 Sha256::portable() {
  Sha256 sum;
  sum.compress_ = compress_portably;
  return sum;
}

void Sha256::add(std::span<const std::byte> bytes) {
  total_bytes_ += bytes.size();
  while (!bytes.empty()) {
    if (pending_bytes_ == 0 && bytes.size() >= 64) {
      compress_(state_, bytes.data());
      bytes = bytes.subspan(64);
      continue;
    }
    const auto take = std::min(bytes.size(), 64 - pending_bytes_);
    std::memcpy(pending_.data() + pending_bytes_, bytes.data(), take);
    pending_bytes_ += take;
    bytes = bytes.subspan(take);
    if (pending_bytes_ == 64) {
      compress_(state_, pending_.data());
      pending_bytes_ = 0;
    }
  }
}

std::array<std::byte, 32> Sha256::finish() {
  const auto bits = total_bytes_ * 8;
  const std::byte mark{0x80};
  add(std::span(&mark, 1));
  static constexpr std::array<std::byte, 64> zeros{};
  add(std::span(zeros).first((56 + 64 - pending_bytes_) % 64));
  std::array<std::byte, 8> length;
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(bits >> (56 - 8 * i));
  add(length);
  std::array<std::byte, 32> digest;
  for (std::size_t i = 0; i < 32; ++i) digest[i] = static_cast<std::byte>(state_[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

std::string to_hex(std::span<const std::byte> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const auto byte : bytes) {
    text.push_back(digits[std::to_integer<unsigned>(byte >> 4)]);
    text.push_back(digits[std::to_integer<unsigned>(byte & std::byte{15})]);
  }
  return text;
}

std::string sha256_hex(std::string_view text) {
  Sha256 sum;
  sum.add(text);
  return to_hex(sum.finish());
}

}  // namespace gf
