// Makes the bodyless declarations of this package legal.
