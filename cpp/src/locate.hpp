// Names the tensor in an error that comes from below.
#pragma once

#include <string>
#include <string_view>

#include "mckpt/error.hpp"

namespace mckpt {

// Runs `work`; an Error from it that names no tensor is thrown again with name(offset), where `offset` is the error's.
template <class Work, class Name>
void with_tensor_name(Work work, Name name) {
  try {
    work();
  } catch (const Error& error) {
    ErrorContext context = error.context();
    if (!context.tensor.empty()) throw;
    context.tensor = name(context.offset);
    throw Error(error.code(), error.what(), context);
  }
}

}  // namespace mckpt
