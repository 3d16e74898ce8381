#include "migrate/source.hpp"

#include "base/files.hpp"
#include "base/utf8.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>

namespace gf::migrate {
namespace {

Error bad_name(std::string_view file_name, std::string_view why) {
  return {Status::invalid_argument,
          fmt::format(
              "{}:1:1: {}; a migration is called NNN_name.sql, NNN_name.up.sql with NNN_name.down.sql, or R_name.sql",
              file_name, why),
          {}};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Result<FileName> parse_file_name(std::string_view file_name) {
  FileName out;
  std::string_view rest = file_name;
  if (!rest.ends_with(".sql")) return bad_name(file_name, "the name does not end with .sql");
  rest.remove_suffix(4);
  if (rest.ends_with(".up")) {
    out.form = FileName::Form::up;
    rest.remove_suffix(3);
  } else if (rest.ends_with(".down")) {
    out.form = FileName::Form::down;
    rest.remove_suffix(5);
  }
  if (rest.starts_with("R_")) {
    if (out.form != FileName::Form::whole)
      return bad_name(file_name, "a repeatable migration has no up and down files");
    out.form = FileName::Form::repeatable;
    out.name = rest.substr(2);
    if (out.name.empty()) return bad_name(file_name, "there is no name after R_");
    return out;
  }
  const auto digits = static_cast<std::size_t>(std::find_if_not(rest.begin(), rest.end(), is_digit) - rest.begin());
  if (digits == 0) return bad_name(file_name, "the name begins with no version");
  if (digits > 18) return bad_name(file_name, "the version has more than 18 digits");
  std::from_chars(rest.data(), rest.data() + digits, out.version);
  out.version_text = rest.substr(0, digits);
  if (out.version == 0) return bad_name(file_name, "the version is 0, which stands for the empty database");
  rest.remove_prefix(digits);
  if (!rest.starts_with('_') || rest.size() < 2) return bad_name(file_name, "no _name follows the version");
  out.name = rest.substr(1);
  return out;
}

Result<std::vector<SourceFile>> read_folder(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(folder.c_str()), closedir);
  if (!stream) return system_error(errno, fmt::format("the folder of migrations {}", shown(folder)));
  struct Entry {
    std::string name;
    bool regular;  // As the folder says; not every file system does.
  };
  std::vector<Entry> entries;
  errno = 0;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone.
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name.starts_with('.') || !name.ends_with(".sql")) continue;
    if (entry->d_type == DT_DIR) continue;
    entries.push_back({std::string(name), entry->d_type == DT_REG});
  }
  if (errno != 0) return system_error(errno, fmt::format("the folder of migrations {}", shown(folder)));
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  std::vector<SourceFile> files;
  files.reserve(entries.size());
  // A start with nothing to do is mostly this loop: three system calls a file where it is small and surely a file.
  std::vector<char> buffer(std::size_t{16} << 10);
  for (auto& [name, regular] : entries) {
    std::string text;
    bool whole = false;
    if (regular) {
      const int descriptor = ::openat(dirfd(stream.get()), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
      if (descriptor >= 0) {
        const auto count = ::read(descriptor, buffer.data(), buffer.size());
        ::close(descriptor);
        whole = count >= 0 && static_cast<std::size_t>(count) < buffer.size();
        if (whole) text.assign(buffer.data(), static_cast<std::size_t>(count));
      }
    }
    if (!whole) {
      auto read = read_text(join_path(folder, name), max_file_bytes);
      if (!read) return wrap(read.error(), read.error().status, fmt::format("{}:1:1: {}", name, read.error().message));
      text = std::move(read).value();
    }
    files.push_back({std::move(name), std::move(text)});
  }
  return files;
}

}  // namespace gf::migrate
