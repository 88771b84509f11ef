// Memory that numpy owns: a view that a model keeps stays valid when the array grows, or when its pair style has gone.

#ifndef FITSNAP_NN_NUMPY_ARRAY_H
#define FITSNAP_NN_NUMPY_ARRAY_H

#include "python_object.h"

#include <cstdint>

namespace fitsnap_nn {

// A buffer that a Python object lends, given back at the end.
class Buffer {
 public:
  Buffer() = default;
  Buffer(PyObject *object, int flags);
  Buffer(Buffer &&other) noexcept : view_(std::exchange(other.view_, Py_buffer{})) {}
  Buffer &operator=(Buffer &&other) noexcept {
    std::swap(view_, other.view_);
    return *this;
  }
  ~Buffer() {
    if (view_.obj)
      with_lock_if_running([this] { PyBuffer_Release(&view_); });
  }

  const Py_buffer &view() const { return view_; }

 private:
  Py_buffer view_{};
};

// The name numpy has for a type.
template <class T> constexpr const char *dtype();
template <> constexpr const char *dtype<double>() {
  return "f8";
}
template <> constexpr const char *dtype<std::int32_t>() {
  return "i4";
}
template <> constexpr const char *dtype<std::int64_t>() {
  return "i8";
}

PyRef empty_array(Py_ssize_t rows, int columns, const char *dtype);

// Rows of one or several columns; it never shrinks.
template <class T, int columns = 1> class NumpyArray {
 public:
  // Makes room; what was in the array is lost where it grows.
  void reserve(Py_ssize_t rows) {
    if (rows <= capacity_)
      return;
    const Py_ssize_t capacity = rows + rows / 8;
    PyRef array = empty_array(capacity, columns, dtype<T>());
    memory_ = Buffer(array.get(), PyBUF_CONTIG);
    array_ = std::move(array);
    capacity_ = capacity;
  }

  T *data() const { return static_cast<T *>(memory_.view().buf); }
  PyRef rows(Py_ssize_t count) const { return checked(PySequence_GetSlice(array_.get(), 0, count)); }
  double bytes() const { return static_cast<double>(memory_.view().len); }

 private:
  PyRef array_;
  Buffer memory_;
  Py_ssize_t capacity_ = -1;
};

}    // namespace fitsnap_nn

#endif
