// Owning references to Python objects, and Python exceptions as C++ ones. Everything here needs the interpreter's lock,
// except dropping what is owned: LAMMPS deletes its styles without it, and perhaps after Python has gone.

#ifndef FITSNAP_NN_PYTHON_OBJECT_H
#define FITSNAP_NN_PYTHON_OBJECT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fitsnap_nn {

// The interpreter's lock: LAMMPS runs without it, in whatever thread.
class GilGuard {
 public:
  GilGuard() : state_(PyGILState_Ensure()) {}
  ~GilGuard() { PyGILState_Release(state_); }
  GilGuard(const GilGuard &) = delete;
  GilGuard &operator=(const GilGuard &) = delete;

 private:
  PyGILState_STATE state_;
};

template <class Release> void with_lock_if_running(Release release) {
  if (!Py_IsInitialized())
    return;
  const GilGuard lock;
  release();
}

class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(PyObject *owned) : object_(owned) {}
  PyRef(PyRef &&other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef &operator=(PyRef &&other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() {
    if (object_)
      with_lock_if_running([this] { Py_DECREF(object_); });
  }

  PyObject *get() const { return object_; }
  PyObject *release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject *object_ = nullptr;
};

// A Python exception, already cleared; what() is its last line and, unless it is one of fitsnap_nn's own that speak for
// themselves, the traceback.
class PythonError : public std::runtime_error {
 public:
  PythonError();
};

// What the Python C API returned, or its exception thrown.
PyRef checked(PyObject *owned);

double number(PyObject *object, const char *attribute);
std::string text(PyObject *object, const char *attribute);
std::vector<std::string> texts(PyObject *object, const char *attribute);

}    // namespace fitsnap_nn

#endif
