#include "environment.hpp"

#include <cstdlib>

#include "support.hpp"

namespace mckpt {
namespace {

constexpr const char* kName = "MCKPT_TEST_NUMBER";

TEST(EnvironmentNumber, ReadsPositiveNumbersAndRefusesAllElse) {
  unsetenv(kName);
  EXPECT_FALSE(environment_number(kName));
  setenv(kName, "12", 1);
  EXPECT_EQ(environment_number(kName), 12U);
  for (const char* bad : {"", "0", "-1", "1x", " 1", "99999999999999999999999"}) {
    setenv(kName, bad, 1);
    EXPECT_EQ(testing::error_of([] { static_cast<void>(environment_number(kName)); }).code(), ErrorCode::kArgument)
        << bad;
  }
  unsetenv(kName);
}

}  // namespace
}  // namespace mckpt
