#include <dlfcn.h>

#include "mckpt/device.hpp"
#include "support.hpp"

namespace mckpt {
namespace {

using testing::error_of;

TEST(NoCuda, IsRefusedByNameWithoutADriver) {
  if (void* driver = dlopen("libcuda.so.1", RTLD_NOW); driver != nullptr) GTEST_SKIP() << "this machine has a driver";
  for (int again = 0; again < 2; ++again) {
    const Error error = error_of([] { static_cast<void>(cuda_ring(0)); });
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_NE(std::string(error.what()).find("libcuda.so.1"), std::string::npos);
  }
}

}  // namespace
}  // namespace mckpt
