// Names and places of files: where models are looked for, and what pictures are called.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace command {

/// Folders with models near the program: of a bundle, where all is in one folder, of an install, of a build tree. Those
/// that exist.
std::vector<std::string> standard_model_folders();

/// Whether --model means a folder rather than a name: it has a slash, or no model folder has it but the current one
/// does.
bool is_model_path(const std::string& model, const std::vector<std::string>& folders);

/// Where the picture number `index` of `count` goes. `out`: a file, a folder (ends in a slash, or is there), or empty
/// for the current folder; the name is then made of prompt and seed. Several pictures get _0, _1, ... before the
/// extension.
std::string picture_path(const std::string& out, const std::string& prompt, std::uint64_t seed, std::uint32_t index,
                         std::uint32_t count);

/// Throws a Failure when a file cannot be made there: better before the minutes of work than after.
void check_writable(const std::string& path);

/// Writes a text and a line feed, over what the file held.
void write_text(const std::string& path, const std::string& text);

}  // namespace command
