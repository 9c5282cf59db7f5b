// System calls on files, complete and with errors that say where.
//
// Functions throw kIo (kDiskFull for ENOSPC and EDQUOT) with path, offset and errno when a call fails. They retry what
// a signal interrupted or the kernel cut short. None keeps state: they are safe to call from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "mckpt/digest.hpp"

namespace mckpt {

// An open file that somebody else owns. `path` is for messages.
struct FileRef {
  int fd = -1;
  std::string path;
};

enum class IoMode {
  kAuto,      // O_DIRECT where the file system takes it; reads take from the page cache what it has
  kDirect,    // O_DIRECT; kIo where the file system refuses it
  kBuffered,  // the page cache
};

[[nodiscard]] std::uint64_t file_size(const FileRef& file);

// Whether the file is on a file system of this machine's own disks, not on one over a network or in user space, and not
// on one that we do not know.
[[nodiscard]] bool is_on_local_disk(const FileRef& file) noexcept;

// Makes the file `size` bytes long with all of its blocks allocated, so that a full disk is found now. Where the file
// system cannot allocate ahead, only sets the size.
void preallocate(const FileRef& file, std::uint64_t size);

void write_all(const FileRef& file, bytes_view bytes, std::uint64_t offset);

// Fills `bytes`; kTruncated, with the offset of the first byte that is missing, if the file ends before.
void read_all(const FileRef& file, std::span<std::byte> bytes, std::uint64_t offset);

// fsync. A failure is final for the file: the kernel may report it once and forget the pages. Never call it again.
void sync_file(const FileRef& file);

// A descriptor of a directory, to be closed by the caller; ELOOP if any component of the path is a link, so that nobody
// who exchanges a directory for a link afterwards, or in between, leads elsewhere whoever goes on from it. Without
// `readable` it can be gone on from, and no more: that takes no permission to read.
[[nodiscard]] int open_directory(const std::string& path, bool readable);

// fsync of its names. No component of the path may be a link.
void sync_directory(const std::string& path);

// Asks the kernel to begin reading a range into the page cache. Only advice: never fails.
void advise_read(const FileRef& file, std::uint64_t offset, std::uint64_t length) noexcept;

// Asks the kernel to forget the file's clean pages.
void drop_cache(const FileRef& file);

// Renames; kExists if the target exists. Returns whether the check and the rename were one atomic step; false where the
// file system cannot do that. No component before the last one may be a link; the last one is not followed.
[[nodiscard]] bool rename_noreplace(const std::string& source, const std::string& target);

// A second descriptor of a file, opened with O_DIRECT. Both see the same bytes; do not write one page through both.
class DirectFile {
 public:
  enum class Access { kRead, kWrite };

  // Empty where O_DIRECT cannot be had. Throws kIo where the device fails.
  [[nodiscard]] static std::optional<DirectFile> open(const FileRef& file, Access access);
  ~DirectFile();
  DirectFile(DirectFile&& other) noexcept;
  DirectFile& operator=(DirectFile&&) = delete;
  DirectFile(const DirectFile&) = delete;
  DirectFile& operator=(const DirectFile&) = delete;

  // What the file system demands of addresses, and of offsets and lengths, in bytes; at most one page.
  [[nodiscard]] std::size_t memory_alignment() const noexcept { return memory_alignment_; }
  [[nodiscard]] std::size_t offset_alignment() const noexcept { return offset_alignment_; }

  // Preconditions: address, length and offset are aligned. Both return false, having done nothing that matters, where
  // the file system refuses direct I/O (EINVAL) after all. `read` stops at the end of the file: `done` is the number of
  // bytes read.
  [[nodiscard]] bool write(bytes_view bytes, std::uint64_t offset) const;
  [[nodiscard]] bool read(std::span<std::byte> bytes, std::uint64_t offset, std::size_t& done) const;

 private:
  DirectFile(FileRef file, std::size_t memory_alignment, std::size_t offset_alignment);

  FileRef file_;  // owns fd
  std::size_t memory_alignment_;
  std::size_t offset_alignment_;
};

// kIo, for a caller who demanded kDirect.
[[noreturn]] void throw_direct_refused(const FileRef& file);

// Tells which parts of a file the page cache has.
class PageCacheProbe {
 public:
  // Where the file cannot be mapped, everything counts as cached.
  PageCacheProbe(const FileRef& file, std::uint64_t size) noexcept;
  ~PageCacheProbe();
  PageCacheProbe(const PageCacheProbe&) = delete;
  PageCacheProbe& operator=(const PageCacheProbe&) = delete;

  // Whether all pages of `length` bytes from `offset` are cached. The kernel may drop them right after; where it does
  // not tell (files of others that the process may not write), the answer is yes.
  [[nodiscard]] bool is_cached(std::uint64_t offset, std::size_t length) const noexcept;

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// A private, copy on write mapping of a file's first `length` bytes. Writes change private pages, never the file.
// Touching it after somebody has truncated the file raises SIGBUS, which ends the process except under a guard
// (mckpt/fault_guard.hpp); this library's own loops have one. For the rest, map only files that nobody changes.
class MappedFile {
 public:
  // kTruncated if the file is shorter than `length`.
  MappedFile(const FileRef& file, std::size_t length);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data_, length_}; }

  // Reads the pages of a range in; kIo where that fails, kTruncated where the file has lost them.
  void populate(std::uint64_t offset, std::size_t length, const std::string& path) const;

 private:
  std::byte* data_ = nullptr;
  std::size_t length_ = 0;
};

}  // namespace mckpt
