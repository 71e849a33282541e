// Declares more than a data scientist is granted: it is refused before it starts.
capability ReadEverything {
    resource "data/**";
    allow read;
    allow delete;
}

import file;

print(file.read("data/sales.csv"));
