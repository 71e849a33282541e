// Reads data/*.csv and writes a report under output/. What it needs is declared; what it gets is what is granted.
capability ReadTables {
    resource "data/*.csv";
    allow read;
}

capability WriteReport {
    resource "output/*.txt";
    allow write;
}

import file;
import csv;

function total(rows) {
    sum_of = 0.0;
    for (row in rows) {
        sum_of = sum_of + float(row.units) * float(row.price);
    }
    return sum_of;
}

sales = csv.read("data/sales.csv");
targets = csv.read("data/targets.csv");

lines = ["Sales report", ""];
for (row in sales) {
    earned = float(row.units) * float(row.price);
    for (target in targets) {
        if (target.region == row.region) {
            reached = earned >= float(target.target) ? "reached" : "missed";
            lines.append(row.region + ": " + str(earned) + " (" + reached + ")");
        }
    }
}
lines.append("total: " + str(total(sales)));

file.writeLines("output/report.txt", lines);
print("wrote output/report.txt with " + str(len(lines)) + " lines");

// What is not granted is refused twice: here by the library, and by the kernel for whoever gets around the library.
try {
    file.write("secret/passwords.txt", "mine now");
} except (e) {
    print("refused: " + str(e));
}
