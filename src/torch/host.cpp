#include "torch/host.hpp"

#include <cstring>
#include <utility>

namespace gf::torch {
namespace {

class HostFile final : public ByteSource {
 public:
  HostFile(const gf_backend_host* table, std::string path, gf_backend_file* file, const gf_backend_file_stamp& stamp)
      : table_(table), path_(std::move(path)), file_(file), bytes_(stamp.bytes) {}
  HostFile(const HostFile&) = delete;
  HostFile& operator=(const HostFile&) = delete;
  ~HostFile() override { table_->file_close(table_->context, file_); }

  const std::string& path() const override { return path_; }
  std::uint64_t size() const override { return bytes_; }

  Result<void> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    SeamError error;
    if (table_->file_read(table_->context, file_, offset, into.data(), into.size(), &error.raw) != 0)
      return error.take();
    return success();
  }

  Result<void> check_unchanged() const override {
    SeamError error;
    if (table_->file_check(table_->context, file_, &error.raw) != 0) return error.take();
    return success();
  }

 private:
  const gf_backend_host* table_;
  std::string path_;
  gf_backend_file* file_;
  std::uint64_t bytes_;
};

}  // namespace

SeamError::SeamError() {
  raw.struct_size = sizeof raw;
  raw.status = static_cast<std::int32_t>(Status::internal);
  raw.message[0] = '\0';
}

Error SeamError::take() const {
  const auto* known = find_status(raw.status);
  return {known == nullptr || raw.status == 0 ? Status::internal : known->status, raw.message, {}};
}

Result<std::unique_ptr<ByteSource>> Host::open(const std::string& path) const {
  SeamError error;
  gf_backend_file* file = nullptr;
  gf_backend_file_stamp stamp{};
  if (table_->file_open(table_->context, path.c_str(), &file, &stamp, &error.raw) != 0) return error.take();
  return std::unique_ptr<ByteSource>(std::make_unique<HostFile>(table_, path, file, stamp));
}

Result<std::string> Host::read_text(const std::string& path, std::uint64_t limit_bytes) const {
  GF_TRY(const auto source, open(path));
  return gf::read_text(*source, limit_bytes);
}

bool Host::has_file(const std::string& path) const { return open(path).has_value(); }

bool Host::log_enabled(LogLevel level) const {
  return table_->log_enabled(table_->context, static_cast<std::uint32_t>(level)) != 0;
}

void Host::log(LogLevel level, const std::string& message) const {
  table_->log(table_->context, static_cast<std::uint32_t>(level), "torch", message.c_str());
}

std::int64_t Host::now_us() const { return table_->now_us(table_->context); }

Result<void> Host::reserve(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes) const {
  SeamError error;
  if (table_->reserve(table_->context, device, kind, bytes, &error.raw) != 0) return error.take();
  return success();
}

void Host::commit(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes) const {
  table_->commit(table_->context, device, kind, bytes);
}

void Host::release(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes, bool committed) const {
  table_->release(table_->context, device, kind, bytes, committed ? 1 : 0);
}

Result<bool> LedgerAccount::take(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes,
                                 Charge* promised) {
  const std::lock_guard lock(mutex_);
  if (table_ == nullptr) return false;
  auto& held = held_[device];
  if (promised == nullptr || !promised->spend(bytes)) {
    SeamError error;
    if (table_->reserve(table_->context, device, kind, bytes, &error.raw) != 0) return error.take();
    table_->commit(table_->context, device, kind, bytes);
  }
  held[static_cast<std::size_t>(kind)] += bytes;
  return true;
}

void LedgerAccount::release(std::uint32_t device, gf_backend_memory_kind kind, std::uint64_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  if (table_ == nullptr) return;
  held_.find(device)->second[static_cast<std::size_t>(kind)] -= bytes;
  table_->release(table_->context, device, kind, bytes, 1);
}

void LedgerAccount::close() noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& [device, held] : held_) {
    for (std::size_t kind = 0; kind < kinds; ++kind) {
      if (held[kind] != 0) table_->release(table_->context, device, static_cast<std::uint32_t>(kind), held[kind], 1);
    }
  }
  table_ = nullptr;
}

bool Charge::spend(std::uint64_t bytes) {
  if (host_ == nullptr || committed_ || bytes > bytes_) return false;
  bytes_ -= bytes;
  host_->commit(device_, kind_, bytes);
  return true;
}

Result<Charge> Charge::reserve(const Host& host, std::uint32_t device, gf_backend_memory_kind kind,
                               std::uint64_t bytes) {
  GF_TRYV(host.reserve(device, kind, bytes));
  Charge charge;
  charge.host_ = &host;
  charge.device_ = device;
  charge.kind_ = kind;
  charge.bytes_ = bytes;
  return charge;
}

void Charge::commit() {
  if (host_ == nullptr || committed_) return;
  host_->commit(device_, kind_, bytes_);
  committed_ = true;
}

Charge::Charge(Charge&& other) noexcept
    : host_(std::exchange(other.host_, nullptr)),
      device_(other.device_),
      kind_(other.kind_),
      bytes_(std::exchange(other.bytes_, 0)),
      committed_(std::exchange(other.committed_, false)) {}

Charge& Charge::operator=(Charge&& other) noexcept {
  std::swap(host_, other.host_);
  std::swap(device_, other.device_);
  std::swap(kind_, other.kind_);
  std::swap(bytes_, other.bytes_);
  std::swap(committed_, other.committed_);
  return *this;
}

Charge::~Charge() {
  if (host_ != nullptr) host_->release(device_, kind_, bytes_, committed_);
}

Result<void> Call::check() const {
  if (cancelled()) return Error{Status::cancelled, "the job was cancelled", {}};
  return success();
}

}  // namespace gf::torch
