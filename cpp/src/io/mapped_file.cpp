#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "mckpt/error.hpp"
#include "mckpt/file.hpp"
#include "system_error.hpp"

namespace mckpt {
namespace {

#ifndef MADV_POPULATE_READ
constexpr int MADV_POPULATE_READ = 22;  // NOLINT(readability-identifier-naming): the kernel's name, since Linux 5.14
#endif

}  // namespace

MappedFile::MappedFile(const FileRef& file, std::size_t length) : length_(length) {
  const std::uint64_t size = file_size(file);
  if (size < length)
    throw Error(ErrorCode::kTruncated, "the file ends early",
                {.path = file.path, .offset = static_cast<std::int64_t>(size)});
  if (length == 0) return;
  void* data = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.fd, 0);
  if (data == MAP_FAILED) throw_system_error("cannot map the file", file.path, errno);
  data_ = static_cast<std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, length_);
}

void MappedFile::populate(std::uint64_t offset, std::size_t length, const std::string& path) const {
  const std::uint64_t begin = offset / 4096 * 4096;
  if (madvise(data_ + begin, offset - begin + length, MADV_POPULATE_READ) == 0) return;
  if (errno == EFAULT)
    throw Error(ErrorCode::kTruncated, "the mapped file has lost pages",
                {.path = path, .offset = static_cast<std::int64_t>(offset)});
  if (errno != EINVAL)
    throw_system_error("cannot read the mapped file", path, errno, static_cast<std::int64_t>(offset));
}

}  // namespace mckpt
