#include "file_host.hpp"

#include <chrono>
#include <cstdio>
#include <utility>

namespace support {
namespace {

struct OpenFile {
  gf::ReadFile file;
  std::uint64_t reads = 0;
};

FileHost& of(void* context) { return *static_cast<FileHost*>(context); }
OpenFile& of(gf_backend_file* file) { return *reinterpret_cast<OpenFile*>(file); }

std::int32_t answer(gf_backend_error* out, gf::Status status, const std::string& message) {
  if (out != nullptr) {
    out->status = static_cast<std::int32_t>(status);
    std::snprintf(out->message, sizeof out->message, "%s", message.c_str());
  }
  return static_cast<std::int32_t>(status);
}

std::int32_t answer(gf_backend_error* out, const gf::Result<void>& result) {
  return result.has_value() ? 0 : answer(out, result.error().status, result.error().message);
}

}  // namespace

FileHost::FileHost() {
  table_.struct_size = sizeof table_;
  table_.abi_version = GF_BACKEND_ABI_VERSION;
  table_.context = this;
  table_.log = [](void* context, std::uint32_t, const char*, const char* message) {
    auto& self = of(context);
    const std::scoped_lock lock(self.mutex_);
    self.log_.emplace_back(message);
  };
  table_.log_enabled = [](void*, std::uint32_t) -> std::uint32_t { return 1; };
  table_.now_us = [](void*) -> std::int64_t {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  };
  table_.reserve = [](void* context, std::uint32_t, std::uint32_t, std::uint64_t bytes,
                      gf_backend_error* error) -> std::int32_t {
    auto& self = of(context);
    const auto now = self.held_ += bytes;
    if (now > self.limit_bytes) {
      self.held_ -= bytes;
      return answer(error, gf::Status::over_budget, std::to_string(bytes) + " bytes do not fit");
    }
    auto peak = self.peak_.load();
    while (now > peak && !self.peak_.compare_exchange_weak(peak, now)) {
    }
    return 0;
  };
  table_.commit = [](void*, std::uint32_t, std::uint32_t, std::uint64_t) {};
  table_.release = [](void* context, std::uint32_t, std::uint32_t, std::uint64_t bytes, std::uint32_t) {
    of(context).held_ -= bytes;
  };
  table_.file_open = [](void* context, const char* path, gf_backend_file** file, gf_backend_file_stamp* stamp,
                        gf_backend_error* error) -> std::int32_t {
    auto opened = gf::ReadFile::open(path);
    if (!opened.has_value()) return answer(error, opened.error().status, opened.error().message);
    auto* kept = new OpenFile{std::move(opened).assume_value()};
    ++of(context).open_files_;
    stamp->bytes = kept->file.size();
    stamp->inode = kept->file.stamp().inode;
    stamp->modified_ns = kept->file.stamp().modified_ns;
    stamp->changed_ns = kept->file.stamp().changed_ns;
    *file = reinterpret_cast<gf_backend_file*>(kept);
    return 0;
  };
  table_.file_read = [](void* context, gf_backend_file* file, std::uint64_t offset, void* into, std::uint64_t bytes,
                        gf_backend_error* error) -> std::int32_t {
    auto& open = of(file);
    if (of(context).before_read) of(context).before_read(open.file.path(), open.reads);
    ++open.reads;
    return answer(error, open.file.read_at(offset, {static_cast<std::byte*>(into), bytes}));
  };
  table_.file_check = [](void*, gf_backend_file* file, gf_backend_error* error) {
    return answer(error, of(file).file.check_unchanged());
  };
  table_.file_close = [](void* context, gf_backend_file* file) {
    --of(context).open_files_;
    delete &of(file);
  };
}

std::vector<std::string> FileHost::take_log() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(log_, {});
}

}  // namespace support
