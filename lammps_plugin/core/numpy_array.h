// Arrays in memory owned by NumPy. A model may keep a view: it stays valid when the array grows or the pair style is
// deleted, because the view holds a reference to the memory.

#ifndef FITSNAP_NN_NUMPY_ARRAY_H
#define FITSNAP_NN_NUMPY_ARRAY_H

#include "python_object.h"

#include <cstdint>

namespace fitsnap_nn {

// Owner of a Py_buffer, released on destruction.
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

// NumPy's type code.
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

// An array that grows but never shrinks, with one or several columns.
template <class T, int columns = 1> class NumpyArray {
 public:
  // Ensures room for `rows` rows. The contents are lost if the array grows: it is then a new NumPy array, since
  // resizing would invalidate the views of models.
  void reserve(Py_ssize_t rows) {
    if (rows <= capacity_)
      return;
    const Py_ssize_t capacity = rows + rows / 8;    // the numbers of ghosts and pairs fluctuate from step to step
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
