#include "torch/allocator.hpp"

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>

#include <sys/mman.h>

namespace gf::torch {
namespace {

constexpr std::size_t alignment = 64;  // What libtorch promises its kernels.
constexpr std::size_t page_bytes = 4096;

/// Weights from this size on have pages of their own, which go back to the system with them. Smaller ones, and what
/// lives for one stage, come from the C library, which keeps it for the next to come.
constexpr std::size_t own_pages_from = std::size_t{64} << 10;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool may_map = false;  // The sanitizer watches what the C library gives.
#else
constexpr bool may_map = true;
#endif

/// In front of every block.
struct alignas(alignment) Header {
  LedgerAccount* account = nullptr;  // nullptr: not charged.
  std::uint64_t bytes = 0;           // As they were asked for, which is what is charged.
  std::uint64_t mapped = 0;          // Of the mapping, this header included; 0: from the C library.
  std::uint32_t device = 0;
  gf_backend_memory_kind kind = GF_BACKEND_MEMORY_ACTIVATIONS;
};
static_assert(sizeof(Header) == alignment);

std::atomic<std::uint64_t> uncharged{0};

Header* take(std::size_t bytes, bool own_pages) noexcept {
  if (bytes > std::numeric_limits<std::size_t>::max() - 2 * page_bytes) return nullptr;
  if (own_pages) {
    const auto mapped = (bytes + sizeof(Header) + page_bytes - 1) / page_bytes * page_bytes;
    void* const at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return nullptr;
    auto* const header = new (at) Header;
    header->mapped = mapped;
    return header;
  }
  void* at = nullptr;
  if (posix_memalign(&at, alignment, bytes + sizeof(Header)) != 0) return nullptr;
  return new (at) Header;
}

}  // namespace

class LedgerAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &give_back, cpu};
    auto* const charging = Charging::current();
    bool charged = false;
    if (charging != nullptr) {
      auto answer = charging->account_.take(charging->device_, charging->kind_, bytes, charging->promised_);
      if (answer.has_error()) {
        const auto& error = answer.error();
        TORCH_CHECK_WITH(OutOfMemoryError, false, error.message);
      }
      charged = answer.value();
    }
    const bool weights = charging != nullptr && charging->kind_ == GF_BACKEND_MEMORY_WEIGHTS;
    auto* const header = take(bytes, may_map && weights && bytes >= own_pages_from);
    if (header == nullptr) {
      if (charged) charging->account_.release(charging->device_, charging->kind_, bytes);
      // In the words by which libtorch's own allocator is told from other errors.
      TORCH_CHECK(false, "DefaultCPUAllocator: the system gave no ", bytes, " bytes");
    }
    header->bytes = bytes;
    if (charged) {
      charging->bytes_ += static_cast<std::int64_t>(bytes);
      header->account = charging->account_.share();
      header->device = charging->device_;
      header->kind = charging->kind_;
    } else {
      uncharged += bytes;
    }
    void* const data = header + 1;
    return {data, data, &give_back, cpu};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }

 private:
  static void give_back(void* data) noexcept {
    if (data == nullptr) return;
    auto* const header = static_cast<Header*>(data) - 1;
    const Header was = *header;
    if (was.mapped != 0) {
      munmap(header, was.mapped);
    } else {
      std::free(header);
    }
    if (was.account == nullptr) {
      uncharged -= was.bytes;
      return;
    }
    if (auto* const charging = Charging::current();
        charging != nullptr && &charging->account_ == was.account && charging->kind_ == was.kind) {
      charging->bytes_ -= static_cast<std::int64_t>(was.bytes);
    }
    was.account->release(was.device, was.kind, was.bytes);
    was.account->drop();
  }
};

namespace {

/// Never destroyed: tensors that outlive everything else come back to it.
LedgerAllocator& the_allocator() {
  static auto* const allocator = new LedgerAllocator;
  return *allocator;
}

}  // namespace

void install_ledger_allocator() {
  static std::once_flag once;
  std::call_once(once, [] { c10::SetCPUAllocator(&the_allocator(), std::numeric_limits<std::uint8_t>::max()); });
}

bool ledger_allocator_is_installed() { return c10::GetCPUAllocator() == &the_allocator(); }

Charging*& Charging::current() noexcept {
  static thread_local Charging* innermost = nullptr;
  return innermost;
}

Charging::Charging(const Host& host, std::uint32_t device, gf_backend_memory_kind kind, Charge* promised) noexcept
    : account_(host.account()), device_(device), kind_(kind), promised_(promised), outer_(current()) {
  current() = this;
}

Charging::~Charging() { current() = outer_; }

std::uint64_t uncharged_bytes() { return uncharged; }

}  // namespace gf::torch
